package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
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
		Extracted     []extracted    `json:"hasExtractedLicensingInfos,omitempty"`
	}
	extracted struct {
		ID   string `json:"licenseId"`
		Name string `json:"name"`
		Text string `json:"extractedText"`
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

// product is a file of the archive with what is linked into it.
type product struct {
	component
	purpose string // SPDX's word for it
	parts   []component
}

// bill returns the bill of materials of an archive, in which a component of several
// products is one.
func bill(o options, products []product, tools string) document {
	d := document{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: o.name,
		Namespace: "https://spdx.org/spdxdocs/" + o.name + "-" + products[0].sha256,
		Creation:  creation{Created: o.time.Format(time.RFC3339), Creators: []string{"Tool: paligemma-dist"}, Comment: tools},
	}
	for _, p := range products {
		id := "SPDXRef-" + spdxName.ReplaceAllString(p.name, "-")
		d.Packages = append(d.Packages, p.listed(id, p.purpose))
		d.Relationships = append(d.Relationships, relationship{d.ID, "DESCRIBES", id})
		for _, c := range p.parts {
			d.Relationships = append(d.Relationships, relationship{id, "STATIC_LINK", d.add(c)})
		}
	}
	return d
}

// add adds a component that is linked in, where the document lacks it, and returns its identifier.
func (d *document) add(c component) string {
	for _, p := range d.Packages {
		if p.Name == c.name && p.Version == c.version {
			return p.ID
		}
	}
	id := fmt.Sprintf("SPDXRef-%d-%s", len(d.Packages), spdxName.ReplaceAllString(c.name, "-"))
	d.Packages = append(d.Packages, c.listed(id, "LIBRARY"))
	if c.terms != "" {
		d.Extracted = append(d.Extracted, extracted{nvidiaTerms, "NVIDIA's license of the CUDA toolkit", c.terms})
	}
	return id
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

// addBill adds the bill of materials of products that the tree has already, made by these tools.
func (t tree) addBill(o options, name string, products []product, tools []string) error {
	text, err := json.MarshalIndent(bill(o, products, "Built with "+strings.Join(tools, ", ")), "", "  ")
	if err != nil {
		return err
	}
	t[name] = entry{append(text, '\n'), 0o644}
	return nil
}

// tool is a program on whose version it depends which bytes a build gives.
type tool struct {
	command string
	marks   string // what the line has, of those that --version prints, that is to be named; "" is the first
}

// versions returns what tools say of their versions, each in a line.
func versions(tools ...tool) (list []string, err error) {
	for _, tool := range tools {
		text, err := output(tool.command, "--version")
		if err != nil {
			return nil, err
		}
		lines := strings.Split(text, "\n")
		i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, tool.marks) })
		if i < 0 {
			return nil, fmt.Errorf("%s --version names none: no line of it has %q", tool.command, tool.marks)
		}
		list = append(list, strings.TrimSpace(lines[i]))
	}
	return list, nil
}
