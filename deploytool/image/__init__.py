"""The image of an app: its Dockerfile, build and push."""
