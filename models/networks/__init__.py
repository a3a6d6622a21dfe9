"""The networks of Su et al. 2024 (J. Synchrotron Rad. 31): Cycle-GAN and Dual U-net."""
