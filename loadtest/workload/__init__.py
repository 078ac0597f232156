"""What is sent and when: scenarios, clips, uploads, arrivals."""
