# The kind node on Debian: kind's own files, a bridge network with routes between nodes, kind's own storage manifest.
# built.sh fills in the version and lays the context. Below, services that make no sense in a container are taken out,
# and everything that asks for more than a host without CAP_SYS_RESOURCE can grant.
FROM kind-offline/rootfs:bookworm
COPY files/usr/local/bin/ /usr/local/bin/
COPY files/kind/ /kind/
COPY files/etc/ /etc/
COPY kubeadm kubelet kubectl /usr/bin/
COPY runc-wrap /usr/local/sbin/runc
COPY default-storage.yaml default-cni.yaml /kind/manifests/
RUN chmod -R 0755 /usr/local/bin /usr/local/sbin /kind/bin && chmod 755 /kind \
 && find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete \
 && rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* /lib/systemd/system/local-fs.target.wants/* \
      /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/* \
 && echo ReadKMsg=no >> /etc/systemd/journald.conf && ln -sf /usr/lib/systemd/systemd /sbin/init \
 && ln -sf /usr/bin/containerd /usr/local/bin/containerd \
 && mkdir -p /opt/cni/bin /etc/kubernetes/manifests && cp /usr/lib/cni/* /opt/cni/bin/ \
 && systemctl enable kubelet.service containerd.service undo-mount-hacks.service && systemctl mask systemd-binfmt.service \
 && sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml \
 && sed -i '/^OOMScoreAdjust/d;/^LimitNPROC/d;/^LimitCORE/d;/^LimitNOFILE/d' /etc/systemd/system/containerd.service \
 && ctr oci spec | jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' > /etc/containerd/cri-base.json \
 && printf '%s' '@VERSION@' > /kind/version
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
