package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"time"
)

const none = "NOASSERTION"

// The parts of an SPDX 2.3 document in JSON that are used.
type (
	document struct {
		Version       string         `json:"spdxVersion"`
		License       string         `json:"dataLicense"`
		ID            string         `json:"SPDXID"`
		Name          string         `json:"name"`
		Namespace     string         `json:"documentNamespace"`
		Creation      creation       `json:"creationInfo"`
		Packages      []spdxPackage  `json:"packages"`
		Relationships []relationship `json:"relationships"`
	}
	creation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
		Comment  string   `json:"comment"`
	}
	spdxPackage struct {
		ID        string      `json:"SPDXID"`
		Name      string      `json:"name"`
		Version   string      `json:"versionInfo"`
		Purpose   string      `json:"primaryPackagePurpose"`
		Download  string      `json:"downloadLocation"`
		Analyzed  bool        `json:"filesAnalyzed"`
		Concluded string      `json:"licenseConcluded"`
		Declared  string      `json:"licenseDeclared"`
		Copyright string      `json:"copyrightText"`
		Checksums []checksum  `json:"checksums,omitempty"`
		Refs      []reference `json:"externalRefs,omitempty"`
	}
	checksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	reference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	relationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

const rootID = "SPDXRef-paligemma"

// bill returns the bill of materials of a binary.
func bill(o options, binary []byte, components []component, tools string) document {
	sum := fmt.Sprintf("%x", sha256.Sum256(binary))
	program := component{name: "paligemma", version: o.version, license: "Apache-2.0", download: none, sha256: sum}
	d := document{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: o.name,
		Namespace:     "https://spdx.org/spdxdocs/" + o.name + "-" + sum,
		Creation:      creation{Created: o.time.Format(time.RFC3339), Creators: []string{"Tool: paligemma-dist"}, Comment: tools},
		Packages:      []spdxPackage{program.listed(rootID, "APPLICATION")},
		Relationships: []relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", rootID}},
	}
	for i, c := range components {
		id := fmt.Sprintf("SPDXRef-%d-%s", i+1, spdxName.ReplaceAllString(c.name, "-"))
		d.Packages = append(d.Packages, c.listed(id, "LIBRARY"))
		d.Relationships = append(d.Relationships, relationship{rootID, "STATIC_LINK", id})
	}
	return d
}

// listed returns a component as the bill has it.
func (c component) listed(id, purpose string) spdxPackage {
	p := spdxPackage{ID: id, Name: c.name, Version: c.version, Purpose: purpose, Download: c.download, Concluded: none, Declared: c.license, Copyright: none}
	if c.sha256 != "" {
		p.Checksums = []checksum{{"SHA256", c.sha256}}
	}
	if c.purl != "" {
		p.Refs = []reference{{"PACKAGE-MANAGER", "purl", c.purl}}
	}
	return p
}

// spdxName matches what identifiers may not have.
var spdxName = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// addBill adds the bill of materials of the binary, which the tree has already.
func (t tree) addBill(o options, components []component) error {
	text, err := json.MarshalIndent(bill(o, t["bin/paligemma"].data, components, toolchain(o)), "", "  ")
	if err != nil {
		return err
	}
	t["sbom.spdx.json"] = entry{append(text, '\n'), 0o644}
	return nil
}

// toolchain names the versions of the compilers, with which a build gives the same bytes.
func toolchain(o options) string {
	versions := []string{runtime.Version()}
	for _, command := range [][]string{{o.cxx, "--version"}, {"rustc", "--version"}, {"cmake", "--version"}} {
		if text, err := output(command[0], command[1:]...); err == nil {
			first, _, _ := strings.Cut(text, "\n")
			versions = append(versions, first)
		}
	}
	return "Built with " + strings.Join(versions, ", ")
}
