from {{ cookiecutter.package }} import part_2
