package main

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/internal/manifest"
)

// applyManager is whom kubectl says it is when it applies server-side. CRDs that are taken over under this name can from then on
// be applied by `otelier crds | kubectl apply --server-side -f -` without forcing anything.
const applyManager = "kubectl"

// webhookOff takes a conversion webhook out of a CRD. Nothing that is applied can do that: the API server keeps the webhook's
// settings that another manager owns, and refuses them beside strategy None.
const webhookOff = `[
	{"op": "test", "path": "/spec/conversion/strategy", "value": "Webhook"},
	{"op": "replace", "path": "/spec/conversion", "value": {"strategy": "None"}}
]`

// takeOver makes the CRDs of the cluster ours, also where the OpenTelemetry Operator has installed them with its conversion
// webhook. Collectors stay as they are; it can be repeated.
func takeOver(ctx context.Context, io streams, client dynamic.Interface) error {
	ours, err := manifest.Parse("the CRDs", crds.YAML())
	if err != nil {
		return err
	}
	resource := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, crd := range ours {
		name := crd.GetName()
		live, err := resource.Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("crd %s: get: %w", name, err)
		}
		if err == nil && conversion(live) == "Webhook" {
			if _, err := resource.Patch(ctx, name, types.JSONPatchType, []byte(webhookOff), metav1.PatchOptions{FieldManager: applyManager}); err != nil {
				return fmt.Errorf("crd %s: remove the conversion webhook: %w", name, err)
			}
			say(io, "crd %s: conversion webhook removed", name)
		}
		if _, err := resource.Apply(ctx, name, crd.Unstructured, metav1.ApplyOptions{FieldManager: applyManager, Force: true}); err != nil {
			return fmt.Errorf("crd %s: apply: %w", name, err)
		}
		say(io, "crd %s: applied", name)
	}
	return warnOfWebhooks(ctx, io, client)
}

func conversion(crd *unstructured.Unstructured) string {
	strategy, _, _ := unstructured.NestedString(crd.Object, "spec", "conversion", "strategy")
	return strategy
}

// warnOfWebhooks names admission webhooks on collectors that are still registered: once their service is gone, they fail every
// write.
func warnOfWebhooks(ctx context.Context, io streams, client dynamic.Interface) error {
	for _, resource := range []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"} {
		list, err := client.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: resource}).
			List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			say(io, "warning: not allowed to look for webhooks of another operator: %v", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", resource, err)
		}
		for _, w := range list.Items {
			if admitsCollectors(&w) {
				say(io, "warning: %s/%s still intercepts writes to %s: delete it once its operator is gone", resource, w.GetName(), crds.Resource)
			}
		}
	}
	return nil
}

func admitsCollectors(configuration *unstructured.Unstructured) bool {
	webhooks, _, _ := unstructured.NestedSlice(configuration.Object, "webhooks")
	for _, w := range webhooks {
		hook, _ := w.(map[string]any)
		rules, _ := hook["rules"].([]any)
		for _, r := range rules {
			rule, _ := r.(map[string]any)
			groups, _, _ := unstructured.NestedStringSlice(rule, "apiGroups")
			resources, _, _ := unstructured.NestedStringSlice(rule, "resources")
			if contains(groups, crds.Group) && contains(resources, crds.Resource) {
				return true
			}
		}
	}
	return false
}

// contains tells whether a rule's list names s, or everything.
func contains(list []string, s string) bool {
	return slices.Contains(list, s) || slices.Contains(list, "*")
}
