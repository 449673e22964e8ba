"""RTP receive, pure: packets, sequences, jitter buffer, depacketisers, statistics, feedback, clock mapping."""
