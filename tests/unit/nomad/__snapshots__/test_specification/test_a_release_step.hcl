job "items-release-v7" {
  name        = "items-release-v7"
  type        = "batch"
  datacenters = ["*"]
  node_pool   = "default"
  priority    = 50
  all_at_once = false

  meta = {
    "deploytool.app"     = "items"
    "deploytool.release" = "v7"
  }

  group "web" {
    count = 1

    constraint {
      attribute = "$${meta.disk}"
      operator  = "="
      value     = "ssd"
    }

    constraint {
      attribute = "$${attr.cpu.arch}"
      operator  = "!="
      value     = "arm64"
    }

    constraint {
      attribute = "$${attr.driver.docker.volumes.enabled}"
      operator  = "="
      value     = "true"
    }

    restart {
      attempts         = 0
      interval         = "5s"
      delay            = "5s"
      mode             = "fail"
      render_templates = false
    }

    reschedule {
      attempts       = 0
      interval       = "0s"
      delay          = "5s"
      delay_function = "constant"
      max_delay      = "0s"
      unlimited      = false
    }

    disconnect {
      lost_after = "8760h"
      replace    = false
      reconcile  = "keep_original"
    }

    ephemeral_disk {
      size    = 300
      sticky  = false
      migrate = false
    }

    task "web" {
      driver         = "docker"
      user           = "1000:1000"
      kill_timeout   = "28s"
      kill_signal    = "SIGTERM"
      shutdown_delay = "0s"

      config {
        image              = "registry.example.com/team/items@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        args               = ["alembic"]
        cap_add            = ["net_bind_service"]
        cap_drop           = ["all"]
        cpu_hard_limit     = true
        image_pull_timeout = "5m"
        init               = true
        pids_limit         = 1024
        readonly_rootfs    = true

        mount {
          readonly = false
          source   = "items_data"
          target   = "/data"
          type     = "volume"
        }

        mount {
          readonly = true
          source   = "/srv/{{files}}"
          target   = "/files"
          type     = "bind"
        }

        mount {
          readonly = false
          target   = "/tmp"
          type     = "tmpfs"

          tmpfs_options {
            size = 268435456
          }
        }

        volumes = [
          "local/deploytool/46dacef2-web.yml:/code/web.yml:ro",
          "secrets/deploytool:/run/secrets:ro",
        ]
      }

      env {
        EMPTY               = ""
        FORWARDED_ALLOW_IPS = "10.200.0.0/16,172.17.0.0/16"
        PRICE               = "$5"
      }

      template {
        destination          = "local/deploytool/46dacef2-web.yml"
        data                 = "# config/web.yml\n"
        left_delimiter       = "{{"
        right_delimiter      = "}}"
        change_mode          = "noop"
        splay                = "0s"
        perms                = "0444"
        env                  = false
        error_on_missing_key = true
        once                 = true
      }

      template {
        destination          = "secrets/deploytool/API-KEY"
        data                 = "{{ with nomadVar \"nomad/jobs/items-release-v7\" }}{{ (index . \"API-KEY\").Value }}{{ end }}"
        left_delimiter       = "{{"
        right_delimiter      = "}}"
        change_mode          = "noop"
        splay                = "0s"
        perms                = "0444"
        env                  = false
        error_on_missing_key = true
        once                 = true
      }

      template {
        destination          = "secrets/deploytool/DATABASE_URL"
        data                 = "{{ with nomadVar \"nomad/jobs/items-release-v7\" }}{{ .DATABASE_URL.Value }}{{ end }}"
        left_delimiter       = "{{"
        right_delimiter      = "}}"
        change_mode          = "noop"
        splay                = "0s"
        perms                = "0444"
        env                  = false
        error_on_missing_key = true
        once                 = true
      }

      template {
        destination          = "secrets/deploytool.env"
        data                 = "NODE={{ env \"node.unique.name\" }}\n"
        left_delimiter       = "{{"
        right_delimiter      = "}}"
        change_mode          = "restart"
        splay                = "5s"
        perms                = "0400"
        env                  = true
        error_on_missing_key = true
      }

      resources {
        cpu        = 500
        memory     = 128
        memory_max = 256
      }

      logs {
        max_files     = 3
        max_file_size = 10
        disabled      = false
      }
    }
  }
}
