/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BARIO_ENGINE_PCI_H
#define BARIO_ENGINE_PCI_H

#include "../engine.h"

/* Those who use a BAR: its device, a part of it for the job, and the CPU's view */
int pci_share(struct source *source, struct bario_err *err);
void pci_unshare(struct source *source);
int pci_take(struct source *source, struct bario_err *err);
void pci_give(struct source *source);
int pci_map(struct source *source, struct bario_err *err);
void pci_unmap(struct source *source);

#endif
