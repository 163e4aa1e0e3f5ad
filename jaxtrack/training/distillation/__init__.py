"""Training a student that makes its teacher's maps of half the crop."""
