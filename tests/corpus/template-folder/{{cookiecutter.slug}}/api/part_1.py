from {{ cookiecutter.package }} import part_1
