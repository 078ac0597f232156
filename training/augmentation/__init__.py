"""What training does to clips: damage as uploads meet it, and pseudo-fakes made of real faces and voices."""
