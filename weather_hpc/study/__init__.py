"""What to measure and where: study and site YAML -> a plan, which is a list of RunSpec."""
