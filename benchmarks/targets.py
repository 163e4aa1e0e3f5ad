"""The 13 real targets: six on which options, checkpoints and seeds are chosen, and seven that are reported apart."""

CHOICE = ("Skiing", "Couple", "Crossing", "David", "Jumping", "Freeman1")
APART = ("Football1", "Deer", "MotorRolling", "Jogging-1", "Jogging-2", "Human7", "Bolt2")
