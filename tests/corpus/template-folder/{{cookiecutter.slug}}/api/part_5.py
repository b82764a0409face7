from {{ cookiecutter.package }} import part_5
