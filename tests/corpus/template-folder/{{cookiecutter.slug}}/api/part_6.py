from {{ cookiecutter.package }} import part_6
