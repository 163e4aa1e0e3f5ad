"""Import of published weights."""
