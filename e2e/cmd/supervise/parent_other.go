//go:build !linux

package main

import "syscall"

// endWithParent does nothing: only Linux can tie a child to its parent. Here a command outlives a supervise that is
// killed with SIGKILL.
func endWithParent(*syscall.SysProcAttr) {}
