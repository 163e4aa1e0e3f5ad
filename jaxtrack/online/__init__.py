"""What trackers that learn while they track share: samplers, memories, update loops."""
