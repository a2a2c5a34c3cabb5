"""What else receives verdicts; one file each."""
