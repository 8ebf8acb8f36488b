package openapi

import (
	"fmt"

	openapiv2 "github.com/google/gnostic-models/openapiv2"
	openapiv3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
)

// v2Protobuf encodes an OpenAPI 2 document given as JSON.
func v2Protobuf(content []byte) ([]byte, error) {
	document, err := openapiv2.ParseDocument(content)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI 2 as protobuf: %w", err)
	}
	return proto.Marshal(document)
}

// v3Protobuf encodes an OpenAPI 3 document given as JSON.
func v3Protobuf(content []byte) ([]byte, error) {
	document, err := openapiv3.ParseDocument(content)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI 3 as protobuf: %w", err)
	}
	return proto.Marshal(document)
}

// v2Fragment encodes sections of an OpenAPI 2 document so that it can stand
// behind others: messages that come one after the other are merged.
func v2Fragment(sections v2Sections) ([]byte, error) {
	if sections.Paths == nil {
		sections.Paths = map[string]*pathItem[v2Op, v2Param]{}
	}
	content, err := marshal(struct {
		v2Head
		v2Sections
	}{v2HeadOf(""), sections})
	if err != nil {
		return nil, err
	}
	document, err := openapiv2.ParseDocument(content)
	if err != nil {
		return nil, fmt.Errorf("OpenAPI 2 as protobuf: %w", err)
	}
	return proto.Marshal(&openapiv2.Document{Paths: document.Paths, Definitions: document.Definitions, Parameters: document.Parameters})
}
