"""What training minimises: one module a term (SPEC-training T1), and their weighted sum in `total`."""
