from {{ cookiecutter.package }} import part_8
