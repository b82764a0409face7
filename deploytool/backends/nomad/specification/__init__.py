"""AppSpec and Release → a job, as JSON and as HCL. Pure."""
