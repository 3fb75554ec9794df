//go:build !linux

package program

import "syscall"

// endWithParent has nothing to set where the kernel can't tie a process to its parent.
func endWithParent(*syscall.SysProcAttr) {}
