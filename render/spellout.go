package render

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// spellOut does to o what the API server's defaulting does to values of ours: to parts of what is atomic, and to numbers. Other
// defaults are fields of their own, that are not ours and need not be known. The rules are those of k8s.io/kubernetes:
// pkg/apis/core/v1/defaults.go, pkg/apis/core/v1/zz_generated.defaults.go and pkg/apis/apps/v1/conversion.go.
func spellOut(o any) {
	switch o := o.(type) {
	case *appsv1.Deployment:
		spellOutPod(&o.Spec.Template.Spec)
	case *appsv1.DaemonSet:
		spellOutPod(&o.Spec.Template.Spec)
	case *appsv1.StatefulSet:
		spellOutPod(&o.Spec.Template.Spec)
		for i := range o.Spec.VolumeClaimTemplates {
			spellOutClaim(&o.Spec.VolumeClaimTemplates[i])
		}
	}
}

func spellOutPod(pod *corev1.PodSpec) {
	for i := range pod.InitContainers {
		spellOutContainer(&pod.InitContainers[i])
	}
	for i := range pod.Containers {
		spellOutContainer(&pod.Containers[i])
	}
	for i := range pod.Volumes {
		spellOutVolume(&pod.Volumes[i])
	}
}

func spellOutContainer(c *corev1.Container) {
	for i := range c.Env {
		from := c.Env[i].ValueFrom
		if from == nil {
			continue
		}
		spellOutField(from.FieldRef)
		if file := from.FileKeyRef; file != nil && file.Optional == nil {
			file.Optional = new(bool)
		}
	}
	roundUp(c.Resources.Limits)
	roundUp(c.Resources.Requests)
}

func spellOutVolume(v *corev1.Volume) {
	if v.DownwardAPI != nil {
		spellOutFiles(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		for _, s := range v.Projected.Sources {
			if s.DownwardAPI != nil {
				spellOutFiles(s.DownwardAPI.Items)
			}
			if t := s.ServiceAccountToken; t != nil && t.ExpirationSeconds == nil {
				t.ExpirationSeconds = new(int64(3600))
			}
		}
	}
	if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
		r := v.Ephemeral.VolumeClaimTemplate.Spec.Resources
		roundUp(r.Limits)
		roundUp(r.Requests)
	}
}

func spellOutFiles(files []corev1.DownwardAPIVolumeFile) {
	for _, f := range files {
		spellOutField(f.FieldRef)
	}
}

func spellOutField(f *corev1.ObjectFieldSelector) {
	if f != nil && f.APIVersion == "" {
		f.APIVersion = "v1"
	}
}

// spellOutClaim completes an item of volumeClaimTemplates, which is atomic.
func spellOutClaim(c *corev1.PersistentVolumeClaim) {
	c.APIVersion, c.Kind = "v1", "PersistentVolumeClaim"
	if c.Spec.VolumeMode == nil {
		c.Spec.VolumeMode = new(corev1.PersistentVolumeFilesystem)
	}
	roundUp(c.Spec.Resources.Limits)
	roundUp(c.Spec.Resources.Requests)
	c.Status.Phase = corev1.ClaimPending
}

// roundUp rounds to thousandths, the finest that the API server keeps of resources.
func roundUp(list corev1.ResourceList) {
	for k, v := range list {
		v.RoundUp(resource.Milli)
		list[k] = v
	}
}
