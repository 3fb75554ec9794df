package features_test

import (
	"context"
	"fmt"

	"github.com/otelier/otelier/e2e/cluster"
)

// repair undoes what tests do to nodes and would have undone themselves, had they not been ended before: it starts nodes that are stopped, and
// removes the rules by which packets are dropped. A cluster whose API server they keep away is not found at all. The rest is in the API, where
// the scenes are removed and the operator is installed as it should be.
func repair(ctx context.Context, c cluster.Nodes) error {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	for _, node := range nodes {
		if err := c.StartNode(ctx, node); err != nil {
			return fmt.Errorf("repair: start node %s: %w", node, err)
		}
		if _, err := c.Exec(ctx, node, "sh", "-c", undrop); err != nil {
			return fmt.Errorf("repair: rules of node %s: %w", node, err)
		}
	}
	return nil
}

// undrop deletes the rules that cut inserts: no others in this chain itself drop what goes to a port.
const undrop = `set -e
rules=$(iptables --wait --list-rules FORWARD)
echo "$rules" | sed -n 's/^-A \(FORWARD .*--dport .*-j DROP\)$/\1/p' | while read -r rule; do
  iptables --wait --delete $rule
done`
