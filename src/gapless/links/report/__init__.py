"""The report of a link audit in every form that people and machines read; import from the modules."""
