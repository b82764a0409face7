from {{ cookiecutter.package }} import part_9
