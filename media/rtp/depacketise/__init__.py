"""RTP payload formats: from the packets of one frame to the frame as a container stores it."""
