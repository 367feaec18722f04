"""What deploy/homing.service leaves a process none of, call by call: for machines where systemd is not there to tell.

The numbers are the kernel's, which never change: on x86-64, on AArch64; None where an architecture lacks the call. What only newer
kernels have is left out: releases of systemd differ in what they let through of it.
"""

from typing import Final

FILTERS: Final = ("@system-service", "~@privileged @resources", "setrlimit prlimit64")
"""The unit's lines that the table was made for."""

REFUSED: Final[dict[str, tuple[int | None, int | None]]] = {
    # The machine's clock.
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "clock_settime": (227, 112), "settimeofday": (164, 170),
    # Its kernel: modules, another one, its log, programs within it.
    "bpf": (321, 280), "delete_module": (176, 106), "finit_module": (313, 273), "init_module": (175, 105),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "perf_event_open": (298, 241), "syslog": (103, 116),
    # Its file systems, its swap, its accounts.
    "acct": (163, 89), "chroot": (161, 51), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "pivot_root": (155, 41), "quotactl": (179, 60),
    "swapoff": (168, 225), "swapon": (167, 224), "umount2": (166, 39),
    # Its ports, its power, its name, its terminals.
    "ioperm": (173, None), "iopl": (172, None), "reboot": (169, 142), "setdomainname": (171, 162),
    "sethostname": (170, 161), "vhangup": (153, 58),
    # Other processes.
    "pidfd_getfd": (438, 438), "ptrace": (101, 117), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    # Rights, and whose a file is.
    "capset": (126, 91), "chown": (92, None), "fchown": (93, 55), "fchownat": (260, 54), "lchown": (94, None),
    "setfsuid": (122, 151), "setgroups": (116, 159), "setresuid": (117, 147), "setreuid": (113, 145),
    "setuid": (105, 146),
    # More of the machine than its share.
    "ioprio_set": (251, 30), "mbind": (237, 235), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "sched_setaffinity": (203, 122), "sched_setattr": (314, 274), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "set_mempolicy": (238, 237), "setpriority": (141, 140),
}  # fmt: skip

SOCKET: Final = (41, 198)
