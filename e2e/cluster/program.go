package cluster

import "context"

// ProgramImage builds an image of one static program, which has the name program in it, into the engine that docker talks to.
func ProgramImage(ctx context.Context, name, path, program string) error {
	return scratchImage(ctx, name, path, program)
}
