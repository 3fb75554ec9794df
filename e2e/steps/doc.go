// Package steps is what the end-to-end tests are written in: steps of e2e-framework that set a scene, and what can be done
// and seen in it. A scene is a namespace of its own and the operators that work there.
//
// Everything goes through the API server, kubectl, the operator's command line or its HTTP paths; the package knows nothing
// of the code inside. Every wait has a deadline and says what it last saw.
package steps
