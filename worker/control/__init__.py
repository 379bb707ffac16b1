"""ControlNets: a picture's outlines or layout, which the UNet is made to follow."""
