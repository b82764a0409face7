from {{ cookiecutter.package }} import part_7
