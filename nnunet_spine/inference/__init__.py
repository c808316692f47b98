"""From models and scans to results, case by case, over files."""
