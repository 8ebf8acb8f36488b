package openapi

import (
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// rootEndpoint is a document that is no resource: discovery and the version.
func rootEndpoint(path, id, description, tag, model string) endpoint {
	return endpoint{path: path, operations: []operation{{
		method: "get", id: id, description: description, tag: tag, produces: objectMedia,
		responses: append(ok(model), response{code: http.StatusUnauthorized, description: "Unauthorized"}),
	}}}
}

func coreVersionsEndpoint() endpoint {
	return rootEndpoint("/api/", "getCoreAPIVersions", "get available API versions", "core", metaPackage+"APIVersions")
}

func groupsEndpoint() endpoint {
	return rootEndpoint("/apis/", "getAPIVersions", "get available API versions", "apis", metaPackage+"APIGroupList")
}

func groupEndpoint(group string) endpoint {
	name := groupName(group)
	return rootEndpoint("/apis/"+group+"/", "get"+camel(name, true)+"APIGroup", "get information of a group",
		camel(name, false), metaPackage+"APIGroup")
}

func resourcesEndpoint(gv schema.GroupVersion) endpoint {
	name := groupName(gv.Group)
	return rootEndpoint("/"+versionPath(gv)+"/", "get"+camel(name, true)+camel(gv.Version, true)+"APIResources",
		"get available resources", camel(name, false)+"_"+gv.Version, metaPackage+"APIResourceList")
}

func versionEndpoint() endpoint {
	e := rootEndpoint("/version/", "getCodeVersion", "get the version information for this server", "version",
		"io.k8s.apimachinery.pkg.version.Info")
	e.operations[0].produces = []string{"application/json"}
	return e
}
