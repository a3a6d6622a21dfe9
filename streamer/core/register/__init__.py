"""Positions, drift, deformation and kinematics of particles; resampling onto one reference."""
