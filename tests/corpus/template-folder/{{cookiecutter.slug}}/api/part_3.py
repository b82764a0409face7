from {{ cookiecutter.package }} import part_3
