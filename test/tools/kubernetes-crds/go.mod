module legion/test/tools/kubernetes-crds

go 1.26.0

// For the files of their repositories, no code is built of them: `go mod tidy` would take them away.
require (
	github.com/kedacore/keda/v2 v2.20.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.3
)
