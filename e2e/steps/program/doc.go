// Package program builds otelier and runs it as a process, as its users do. It knows nothing of the code inside.
package program
