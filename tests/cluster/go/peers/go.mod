// Pins whose files are read, one module at a time: nothing is built from here, so never tidy it.
module riskladder.dev/tests/cluster/peers

go 1.26.0

require (
	github.com/argoproj/argo-rollouts v1.10.1
	github.com/argoproj/argo-workflows/v4 v4.0.5
	github.com/kedacore/keda/v2 v2.21.0
	github.com/operator-framework/operator-lifecycle-manager v0.46.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	github.com/ray-project/kuberay/ray-operator v1.5.0
	sigs.k8s.io/gateway-api v1.6.3
)
