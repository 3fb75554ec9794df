package monitor

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/file"
)

// denied says why a job must not be, for the files that it reads; empty when there is no reason.
func (p *profile) denied(config *promconfig.ScrapeConfig) string {
	if p.settings.NoFileDiscovery {
		if file := fileOfDiscovery(config); file != "" {
			return fmt.Sprintf("discovers its targets by the file %q, which would be one of the operator's own: use httpSDConfigs", file)
		}
	}
	if p.settings.DenyFiles {
		if file := cmp.Or(fileOfDiscovery(config), fileIn(reflect.ValueOf(config))); file != "" {
			return fmt.Sprintf("reads the file %q, which the selection denies", file)
		}
	}
	return ""
}

// fileOfDiscovery is a file that the service discovery of a job reads; empty when there is none. It looks at every field that Prometheus
// calls something_file, however deep, and at the files of file_sd_configs.
func fileOfDiscovery(config *promconfig.ScrapeConfig) string {
	for _, sd := range config.ServiceDiscoveryConfigs {
		if files, ok := sd.(*file.SDConfig); ok && len(files.Files) > 0 {
			return files.Files[0]
		}
		if found := fileIn(reflect.ValueOf(sd)); found != "" {
			return found
		}
	}
	return ""
}

func fileIn(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return ""
		}
		return fileIn(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if found := fileIn(v.Index(i)); found != "" {
				return found
			}
		}
	case reflect.Map:
		// Headers have files too: http_headers.NAME.files.
		for entries := v.MapRange(); entries.Next(); {
			if found := fileIn(entries.Value()); found != "" {
				return found
			}
		}
	case reflect.Struct:
		return fileInStruct(v)
	default:
	}
	return ""
}

func fileInStruct(v reflect.Value) string {
	for field, value := range v.Fields() {
		if !field.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if value.Kind() == reflect.String && value.Len() > 0 && strings.HasSuffix(name, "_file") {
			return value.String()
		}
		if value.Kind() == reflect.Slice && value.Len() > 0 && name == "files" {
			return value.Index(0).String()
		}
		if found := fileIn(value); found != "" {
			return found
		}
	}
	return ""
}
