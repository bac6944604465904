package embedded

import "testing"

// TestParamsShareNothing: a block chain writes its clock into the deployments of its parameters, and there may be several chains.
func TestParamsShareNothing(t *testing.T) {
	a, b := Params(), Params()
	for i := range a.Deployments {
		x, y := &a.Deployments[i], &b.Deployments[i]
		if x.DeploymentStarter == y.DeploymentStarter || x.DeploymentEnder == y.DeploymentEnder {
			t.Errorf("deployment %d is shared", i)
		}
	}
}
