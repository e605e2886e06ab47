"""Training sets: arms, filters, transforms, teachers as specs, cross-validated tuning."""
