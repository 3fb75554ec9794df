package main

import "syscall"

// endWithParent covers the one case that the pipe does not: supervise itself is killed with SIGKILL.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
