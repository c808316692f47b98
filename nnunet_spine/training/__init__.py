"""What all trainers share: the base trainer, learning-rate schedules and recipe names."""
