package regtest

import "syscall"

func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup kills the process pid and all of its group, which ownGroup gave it.
func killGroup(pid int) { syscall.Kill(-pid, syscall.SIGKILL) }
