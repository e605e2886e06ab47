"""Tables, verdicts, figures and the page."""
