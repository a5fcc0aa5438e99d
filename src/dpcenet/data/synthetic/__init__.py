"""Made-up anatomies, cut and rendered: endless labelled pairs without a patient."""
