from {{ cookiecutter.package }} import part_4
