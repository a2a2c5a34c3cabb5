"""The simulated line behind `gonogo demo`: a virtual PLC, its list, and the panel."""
